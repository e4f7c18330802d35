"""Telling the operator outside of the dashboard. Only `deliver`, a program of its own, may import apprise."""
