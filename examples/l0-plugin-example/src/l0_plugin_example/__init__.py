"""An example of a plugin for L0; `plugin` announces what the other modules hold."""
