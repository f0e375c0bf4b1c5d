"""When the platform alerts, and what is done about it: rules, states, acknowledgements, silences. Pure."""
