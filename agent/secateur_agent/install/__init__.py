"""How a new model gets onto the device: a state machine that survives the loss of power at any instant."""
