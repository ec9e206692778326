"""Sheets: single images that show samples, views, explanations or answers."""
