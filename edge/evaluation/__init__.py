"""How good estimated motion is, by the field's own definitions: measures, baselines, volumes, uncertainty, plots."""
