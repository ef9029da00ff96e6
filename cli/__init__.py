"""The command line: TensorVCS in a shell.

Terms
-----
caller : who runs the command and from where: directory, environment, the user's own settings.
output : the only printer; text for people, one JSON document for programs.
argument : a word of the command line, turned into a value or refused as wrong usage.
text, document : how a commit, a key or a diff looks to a person and to a program.
"""
