"""The options of the conformance suite, also where the package is not installed but on the path."""

from importlib.metadata import entry_points

if not any(e.value == "cld_sgm._pytest" for e in entry_points(group="pytest11")):
    pytest_plugins = ["cld_sgm._pytest"]
