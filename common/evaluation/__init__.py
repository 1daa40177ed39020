"""How good something is: rankings, clicks, what it is held against, and how sure that is."""
