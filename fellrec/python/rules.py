"""A rule of aggregation of one's own, in a script or a notebook; ``docs/own-rule.md`` says what a rule is."""

from __future__ import annotations

from common.scopes import Scope
from server_app.aggregation.rule import Updates
from server_app.aggregation.rule import named as rule

__all__ = ["Scope", "Updates", "rule"]
