"""The front end's side: the wire, the bridge that takes it in, and a player that speaks it."""
