"""Measuring any command: instruments around it, tables and a summary afterwards."""
