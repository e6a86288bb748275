// Package ftpssh tests FTP, SSH and SFTP of the built server through the
// clients that people use: curl, lftp, Python's ftplib; ssh, sftp, scp and sshfs.
package ftpssh
