"""From masks and images to a trained network: one trainer, two tasks."""
