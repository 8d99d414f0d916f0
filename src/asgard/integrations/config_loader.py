"""`load_config`, for scripts around Redshift and HubSpot."""

from __future__ import annotations

from asgard.app.frames.external_data import load_config

__all__ = ["load_config"]
