"""What carries state between steps: momentum twins, key queues, memory banks."""
