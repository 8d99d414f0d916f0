"""Hypothesis without a clock: a busy machine makes no test fail. In CI its own profile stays beneath."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("asgard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("asgard")
