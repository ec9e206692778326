"""Image files for people: samples with captions, random views, explanations, answers to a query."""
