"""The plugin, which pytest loads at every start where the package is installed."""

import os
import subprocess
import sys

HEAVY = "[m for m in ('numpy', 'cld_sgm._native', 'cld_sgm._check', 'cld_sgm.conformance', 'torch', 'jax') if m in sys.modules]"


def test_the_plugin_alone_is_light():
    """Catches a plugin that makes every start of pytest slower, in projects that have nothing to do with it."""
    code = f"import sys, pytest, cld_sgm._pytest; print({HEAVY})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done


def test_a_suite_of_something_else_is_left_alone(tmp_path):
    """Catches an option or a hook of the plugin that imports the package where no test asks for it."""
    (tmp_path / "test_other.py").write_text(f"import sys\n\ndef test_nothing():\n    assert {HEAVY} == []\n")
    # other plugins of the environment import what they like
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "cld_sgm._pytest", "."]
    alone = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=alone)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_names_are_there_when_asked_for():
    """Catches a public name that is listed and cannot be imported, or one that is not listed."""
    import cld_sgm

    assert all(getattr(cld_sgm, name) is not None for name in cld_sgm.__all__)
    listed = {name for names in cld_sgm._FROM.values() for name in names}
    assert listed | {"__version__", "list_mistakes"} == set(cld_sgm.__all__) <= set(dir(cld_sgm))
    try:
        cld_sgm.CDL
    except AttributeError as error:
        assert str(error) == "module 'cld_sgm' has no attribute 'CDL'"
