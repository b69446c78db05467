"""What a tablet sees of the device: the gateway, its link and its page."""
