"""``pytest --pyargs cld_sgm.conformance --cld-adapter mypkg.adapter``."""

from cld_sgm.conformance import CLDConformance


class TestConformance(CLDConformance):
    """Every formula of the protocol against the adapter."""
