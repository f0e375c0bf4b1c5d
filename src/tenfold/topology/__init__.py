"""What you want: the model of tenfold.toml. Pure."""
