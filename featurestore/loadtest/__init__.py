"""How much a server takes, and how fast it is then: requests at their instants, whatever becomes of those before."""
