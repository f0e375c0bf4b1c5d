"""What the platform measures of itself: recorded, binned, stored, asked. Pure."""
