"""Finds the smallest model within a loss, or the largest model of a given speed, in few runs.

One half of the held-out rows chooses the size. The other half, which no choice has used, measures the result.
"""
