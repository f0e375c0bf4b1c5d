"""What an app imports. Edge."""
