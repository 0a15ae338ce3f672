"""Tests. They share the cores with whatever else runs, so idle threads sleep: torch is not imported yet."""

from pgb_core.machine import wait_passively

wait_passively()
