"""Who vouches for bytes? Signatures in the formats of OpenSSH.

Signature: what ``ssh-keygen -Y sign`` writes, an armoured text over a payload (`ssh_signature`).
Namespace: what a signature is for; here always ``tensorvcs``, so that a signature made for git or a
    file proves nothing about a commit.
Signer: whatever turns a payload into a signature (`signer`), such as a key file (`ed25519`).
Fingerprint: the short name of a public key, ``SHA256:`` and the digest of it.
Principal: whom a key stands for; here the mail address of the committer.
Allowed signers: a file that says which keys stand for which principals (`allowed_signers`).

Knows nothing of commits. `ed25519` alone needs the package ``cryptography``, and only once a key is
used.
"""
