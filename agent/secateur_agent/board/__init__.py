"""The setup program: installs, upgrades and removes the agent on a board, as root, before there is an agent.

It travels as one file and runs on the board's own Python, so it uses the standard library only and imports nothing of the
agent. In its archive this package is called ``secateur_board``.
"""
