"""From a bare board to a device that is enrolled and serves: SD-card images, SSH, Termux, and this machine itself."""
