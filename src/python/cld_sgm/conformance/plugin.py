"""The plugin by its old name: ``-p cld_sgm.conformance.plugin``."""

from .._pytest import pytest_addoption, pytest_generate_tests, pytest_report_header, pytest_terminal_summary

__all__ = ["pytest_addoption", "pytest_generate_tests", "pytest_report_header", "pytest_terminal_summary"]
