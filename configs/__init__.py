"""Presets, one YAML file each, and the pretrained generator for the embedded data."""
