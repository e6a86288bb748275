"""Puts or gets small files over one connection of FTP, in the clear or over TLS.

small.py put|get plain|tls HOST USER PASSWORD FOLDER COUNT
"""
import ftplib
import io
import ssl
import sys

verb, how, host, user, password, folder, count = sys.argv[1:8]


class Resuming(ftplib.FTP_TLS):
    """Resumes the session of the control connection for data, as clients in C do."""

    def ntransfercmd(self, cmd, rest=None):
        conn, size = ftplib.FTP.ntransfercmd(self, cmd, rest)
        return self.context.wrap_socket(conn, server_hostname=self.host, session=self.sock.session), size


f = ftplib.FTP() if how == "plain" else Resuming(context=ssl._create_unverified_context())
f.connect(host, 21, timeout=60)
f.login(user, password)
if how == "tls":
    f.prot_p()
f.cwd(folder)
for i in range(int(count)):
    name = "f%d" % i
    if verb == "put":
        with open("small/" + name, "rb") as src:
            f.storbinary("STOR " + name, src)
    else:
        got = io.BytesIO()
        f.retrbinary("RETR " + name, got.write)
        with open("small/" + name, "rb") as src:
            assert got.getvalue() == src.read(), name
f.quit()
