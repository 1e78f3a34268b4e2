"""The errors of the core, each of them caught by the built-in class that its kind suggests."""

from __future__ import annotations


class InputError(ValueError):
    """What was handed in cannot be used; the text says what is wrong, where, and what to do."""


class UnknownPluginError(LookupError):
    """No plugin of that name is installed; the text lists those that are and who brings the missing one."""


class PluginConflictError(LookupError):
    """Two distributions claim one name; the text names both."""


class BrokenPluginError(ImportError):
    """The plugin is installed and could not be loaded; the cause is chained."""


class MissingDependencyError(ImportError):
    """The plugin needs a package that is not installed; the text has the command that installs it."""


class NotFittedError(ValueError, AttributeError):
    """Something learnt was asked for before ``fit``."""


class UntrainedWarning(UserWarning):
    """A gate strategy selects before ``fit``: it has learnt nothing, the selection is the prior's."""
