"""What runs inside a jail. Small, standard library only: it is loaded before every program and forks.

zygote     waits for orders, forks a process per program, measures it, ends it
cell       turns a forked process into a cell: namespaces, limits, no privileges
candidate  runs the program
examiner   runs the test code, in a cell of its own
looks      what the test code saw of the program's objects
proxies    what the test code holds in place of the program's objects
conversation   the two processes speaking over a socket
aliases    data that both sides hold on to
encoding   data to JSON, in a closed set of types
decoding   and back, believing nothing
kernel     system calls that the standard library lacks
"""
