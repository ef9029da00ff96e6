"""Trust: damage a repository on purpose, many times, and count what is lost or told wrongly.

An **experiment** does one kind of harm to a small repository in many **runs**, and a process of its
own then reads everything and compares it with what was stored (`probe`). What is counted:

- a **loss**: something acknowledged is gone, and no error says so;
- a **wrong tensor**: a read gave another value than was stored, without an error;
- an **unreadable repository**: nothing at all can be read any more, nor after ``recover``;
- a **crash**: a read ended the process, or raised something that is no error of TensorVCS;
- **unnoticed** damage: a read failed, and ``verify`` calls the repository sound.

Where the database was harmed and is not whole, ``recover`` is run, and what it brings back is
looked at again; **mended** are the runs after which all could be read then.

Where no file is harmed, but a process is killed, the power goes or the disk is full
(`sudden_ends`), an error afterwards is a loss as well. ``python -m benchmarks.trust.compared`` does
some of the harm to other systems too, with the same small store in each (`peers`).
"""
