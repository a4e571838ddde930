"""Teachers beside the problems' own solutions: a model that answers as well, and one that scores what the student wrote."""
