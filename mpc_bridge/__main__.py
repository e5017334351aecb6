"""``python -m mpc_bridge``: the command line."""

from mpc_bridge.cli import main

if __name__ == "__main__":
    main()
