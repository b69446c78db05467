"""OpenIGTLink, the language of 3D Slicer and PLUS: its messages, and a server that shows the device's live images in it."""
