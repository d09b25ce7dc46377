"""Kernel functions."""
