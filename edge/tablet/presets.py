"""What an exam can begin with: names of presets (the page has their words), and how their volumes are shown first."""

PRESETS = (
    {"name": "general", "body_part": "", "side": "", "direction": "", "view": "mip"},
    {"name": "vessel", "body_part": "vessel", "side": "", "direction": "", "view": "mip"},
    {"name": "thyroid", "body_part": "thyroid", "side": "", "direction": "", "view": "alpha"},
    {"name": "limb", "body_part": "leg", "side": "", "direction": "", "view": "alpha"},
)
LANGUAGES = ("en", "fr", "es")
