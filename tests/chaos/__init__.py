"""Harm on purpose: what klayer promises of runs, tried with kills, refusals, damage and company.

``python -m chaos`` tries each promise at length and prints the figures; the tests try each in short.
"""
