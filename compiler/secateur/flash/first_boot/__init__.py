"""How images take settings from their boot partition at the first boot: one file per mechanism, each registers itself."""
