use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;

use crate::atomic::write_whole;
use crate::hash::hex;
use crate::stream::is_web_page;
use crate::{Error, progress};

/// A file that can be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its name, under the address and in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// The files of a data set and where they are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// The address that the names are appended to, without a slash at its end.
    ///
    /// `http://` where the server allows it: every file is checked against its SHA-256, so that is
    /// safe, and it gets through where certificates are missing or replaced.
    pub base_url: String,
    /// The files.
    pub files: Vec<RemoteFile>,
}

impl Remote {
    /// The cropped digits (format 2) of SVHN, 246 MB.
    pub fn svhn() -> Self {
        Self::new(
            "http://ufldl.stanford.edu/housenumbers",
            &[
                (
                    "train_32x32.mat",
                    182_040_794,
                    "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                ),
                (
                    "test_32x32.mat",
                    64_275_384,
                    "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                ),
            ],
        )
    }

    /// MNIST, 12 MB.
    pub fn mnist() -> Self {
        Self::new(
            "http://ossci-datasets.s3.amazonaws.com/mnist",
            &[
                (
                    "train-images-idx3-ubyte.gz",
                    9_912_422,
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                ),
                (
                    "train-labels-idx1-ubyte.gz",
                    28_881,
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                ),
                (
                    "t10k-images-idx3-ubyte.gz",
                    1_648_877,
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                ),
                (
                    "t10k-labels-idx1-ubyte.gz",
                    4_542,
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                ),
            ],
        )
    }

    fn new(base_url: &str, files: &[(&str, u64, &str)]) -> Self {
        let file = |&(name, bytes, sha256): &(&str, u64, &str)| RemoteFile {
            name: name.into(),
            bytes,
            sha256: sha256.into(),
        };
        Self {
            base_url: base_url.into(),
            files: files.iter().map(file).collect(),
        }
    }

    /// Fetches the files into `folder`, with a progress bar. A file that is already there is kept,
    /// whatever it holds; a warning says so if its length is not the official one.
    ///
    /// # Errors
    ///
    /// [`Error::Download`] if the server does not answer within seconds or sends something else;
    /// [`Error::Write`] if `folder` cannot be written. Nothing is left under the name of the file
    /// unless its length and SHA-256 are right.
    pub fn fetch(&self, folder: &Path) -> Result<(), Error> {
        let seconds = |number| Some(Duration::from_secs(number));
        let agent: Agent = Agent::config_builder()
            .timeout_resolve(seconds(5))
            .timeout_connect(seconds(5))
            .timeout_recv_response(seconds(15))
            .timeout_per_read(seconds(30))
            .build()
            .into();
        self.files.iter().try_for_each(|file| {
            let path = folder.join(&file.name);
            match path.metadata() {
                Ok(there) if there.len() != file.bytes => {
                    tracing::warn!(
                        "{} is kept as it is, although it has {} bytes and the official file has {}; \
                         delete it to download that one",
                        path.display(),
                        there.len(),
                        file.bytes
                    );
                    Ok(())
                }
                Ok(_) => Ok(()),
                Err(_) => fetch(&agent, &format!("{}/{}", self.base_url, file.name), file, &path),
            }
        })
    }
}

fn fetch(agent: &Agent, url: &str, file: &RemoteFile, path: &Path) -> Result<(), Error> {
    let refused = |reason| Error::Download {
        url: url.to_owned(),
        path: path.to_owned(),
        reason,
    };
    let response = agent.get(url).call().map_err(|e| refused(e.to_string()))?;
    let mut body = BufReader::new(response.into_body().into_reader());
    write_whole(path, |out| receive(&mut body, file, out)).map_err(|failure| match failure {
        Failure::Refused(reason) => refused(reason),
        Failure::Write(source) => Error::write(path, source),
    })
}

/// Why a file did not arrive.
enum Failure {
    /// The server or the network is to blame.
    Refused(String),
    /// The disk is.
    Write(io::Error),
}

impl From<io::Error> for Failure {
    fn from(source: io::Error) -> Self {
        Self::Write(source)
    }
}

/// Copies `body` to `out` and checks that it is `file`.
fn receive(body: &mut impl BufRead, file: &RemoteFile, out: &mut File) -> Result<(), Failure> {
    let bar = progress::bytes(file.bytes, format!("downloading {}", file.name));
    let mut hasher = Sha256::new();
    let mut received = 0;
    loop {
        let chunk = body.fill_buf().map_err(|error| {
            let all = file.bytes;
            Failure::Refused(format!(
                "the connection broke after {received} of {all} bytes ({error})"
            ))
        })?;
        let length = chunk.len();
        if received == 0 && is_web_page(chunk) {
            return Err(Failure::Refused(
                "the server sent a web page instead of the file".into(),
            ));
        }
        if length == 0 {
            break;
        }
        received += length as u64;
        if received > file.bytes {
            let all = file.bytes;
            return Err(Failure::Refused(format!(
                "more than the expected {all} bytes came"
            )));
        }
        hasher.update(chunk);
        out.write_all(chunk)?;
        body.consume(length);
        bar.set_position(received);
    }
    bar.finish_and_clear();
    if received != file.bytes {
        let all = file.bytes;
        return Err(Failure::Refused(format!(
            "only {received} of {all} bytes came"
        )));
    }
    let hash = hex(&hasher.finalize());
    if hash != file.sha256 {
        let wanted = &file.sha256;
        return Err(Failure::Refused(format!(
            "its SHA-256 is {hash}, expected {wanted}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};
    use std::time::Instant;

    use tempfile::TempDir;

    use super::*;

    const CONTENT: &[u8] = b"the content of the file";

    /// A server that gives `answer` to one request, and the request's first line to the caller.
    fn serve(answer: Vec<u8>) -> (String, JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/data", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut lines = BufReader::new(connection.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while !lines.next().unwrap().unwrap().is_empty() {}
            connection.write_all(&answer).unwrap();
            first
        });
        (address, server)
    }

    fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        [head.as_bytes(), body].concat()
    }

    fn remote(base_url: String) -> Remote {
        let sha256 = hex(&Sha256::digest(CONTENT));
        Remote::new(&base_url, &[("file.mat", CONTENT.len() as u64, &sha256)])
    }

    /// The message of a download that must fail and leave nothing behind.
    fn refusal(base_url: String) -> String {
        let folder = TempDir::new().unwrap();
        let error = remote(base_url.clone()).fetch(folder.path()).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let text = error.to_string();
        let path = folder.path().join("file.mat");
        assert!(
            text.contains(&format!("cannot download {base_url}/file.mat: ")),
            "{text}"
        );
        assert!(
            text.ends_with(&format!("put it at {}", path.display())),
            "{text}"
        );
        text
    }

    fn refused_answer(answer: Vec<u8>) -> String {
        let (address, server) = serve(answer);
        let text = refusal(address);
        server.join().unwrap();
        text
    }

    #[test]
    fn the_file_arrives_under_its_name_alone() {
        let (address, server) = serve(answer("200 OK", CONTENT.len(), CONTENT));
        let folder = TempDir::new().unwrap();
        let target = folder.path().join("datasets/new");
        remote(address).fetch(&target).unwrap();
        assert_eq!(server.join().unwrap(), "GET /data/file.mat HTTP/1.1");
        assert_eq!(fs::read(target.join("file.mat")).unwrap(), CONTENT);
        assert_eq!(fs::read_dir(target).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_there_is_kept() {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("file.mat"), "mine").unwrap();
        remote("http://127.0.0.1:1".into())
            .fetch(folder.path())
            .unwrap();
        assert_eq!(fs::read(folder.path().join("file.mat")).unwrap(), b"mine");
    }

    #[test]
    fn a_body_cut_off_is_refused() {
        let text = refused_answer(answer("200 OK", CONTENT.len(), &CONTENT[..9]));
        assert!(text.contains("broke after 9 of 23 bytes"), "{text}");
        let text = refused_answer(answer("200 OK", 9, &CONTENT[..9]));
        assert!(text.contains("only 9 of 23 bytes came"), "{text}");
    }

    #[test]
    fn other_content_is_refused() {
        let text = refused_answer(answer("200 OK", CONTENT.len(), &[7; CONTENT.len()]));
        assert!(text.contains("its SHA-256 is "), "{text}");
        let text = refused_answer(answer("200 OK", 100, &[7; 100]));
        assert!(text.contains("more than the expected 23 bytes"), "{text}");
        let page = b"<!doctype html><p>Log in to this network</p>";
        let text = refused_answer(answer("200 OK", page.len(), page));
        assert!(text.contains("sent a web page"), "{text}");
    }

    #[test]
    fn an_error_status_is_named() {
        let text = refused_answer(answer("404 Not Found", 9, b"not there"));
        assert!(text.contains("404"), "{text}");
    }

    #[test]
    fn no_network_fails_in_seconds() {
        let start = Instant::now();
        // A port that was free a moment ago refuses connections.
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        refusal(format!("http://{free}"));
        // By RFC 2606 this name never resolves.
        refusal("http://shortrun.invalid".into());
        assert!(start.elapsed() < Duration::from_secs(15));
    }

    #[test]
    fn the_tables_are_well_formed() {
        for remote in [Remote::svhn(), Remote::mnist()] {
            assert!(remote.base_url.starts_with("http://") && !remote.base_url.ends_with('/'));
            for file in remote.files {
                assert_eq!(file.sha256.len(), 64);
                assert!(
                    file.sha256
                        .bytes()
                        .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                );
            }
        }
    }
}
