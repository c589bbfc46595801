"""Serves HTTP: addresses and sockets, connections, and what is answered on them."""
