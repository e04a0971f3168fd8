# SPDX-License-Identifier: MIT
"""The parts of bench/run.py: what is measured (table), how it is built (builders), run (runner,
server), and shown (report, plots, readme); and the growth curves (growth)."""
