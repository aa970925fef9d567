//! Finding out how a stream is compressed, and undoing it.

use std::io::{BufRead, BufReader, Read};

use crate::Error;

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// Looks at the first bytes. Media types are not asked: they lie, and archives of `docker save` have none.
    pub(crate) fn detect(start: &[u8]) -> Result<Self, Error> {
        let unsupported = |name| {
            Err(Error::Archive(format!(
                "compressed with {name}, which is not supported: use gzip, zstd or none"
            )))
        };
        match start {
            [0x1f, 0x8b, 0x08, ..] => Ok(Self::Gzip),
            // A frame, or a skippable frame (0x184D2A50 to 0x184D2A5F).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Ok(Self::Zstd),
            [0xfd, b'7', b'z', b'X', b'Z', 0x00, ..] => unsupported("xz"),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => unsupported("bzip2"),
            _ => Ok(Self::Plain),
        }
    }

    /// The OCI media type of a layer so compressed.
    pub(crate) fn layer_media_type(self) -> &'static str {
        match self {
            Self::Plain => "application/vnd.oci.image.layer.v1.tar",
            Self::Gzip => "application/vnd.oci.image.layer.v1.tar+gzip",
            Self::Zstd => "application/vnd.oci.image.layer.v1.tar+zstd",
        }
    }
}

/// A stream with its compression undone.
pub(crate) type Decompressed<'a> = Box<dyn Read + Send + 'a>;

/// Undoes the compression of `stream`, whatever it is.
pub(crate) fn decompress<'a>(
    stream: impl Read + Send + 'a,
) -> Result<(Decompressed<'a>, Compression), Error> {
    let mut stream = BufReader::with_capacity(256 << 10, Resumed { start: Vec::new(), inner: stream });
    let start = peek(&mut stream)?;
    let compression = Compression::detect(&start)?;
    let stream: Decompressed<'a> = match compression {
        Compression::Plain => Box::new(stream),
        // Several gzip members in a row are one stream (pigz, eStargz).
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(stream)),
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)
                .map_err(|error| Error::Archive(error.to_string()))?;
            // 128 MiB, what `zstd --ultra -22` writes; a frame may ask for far more memory.
            decoder.window_log_max(27).map_err(|error| Error::Archive(error.to_string()))?;
            Box::new(decoder)
        }
    };
    Ok((stream, compression))
}

/// The first six bytes, or fewer when there are no more; they are read again later.
fn peek<R: Read>(stream: &mut BufReader<Resumed<R>>) -> Result<Vec<u8>, Error> {
    let mut start = Vec::with_capacity(6);
    while start.len() < 6 {
        let available = stream.fill_buf().map_err(Error::Stream)?;
        if available.is_empty() {
            break;
        }
        let n = available.len().min(6 - start.len());
        start.extend_from_slice(&available[..n]);
        if start.len() == 6 && n == 6 {
            // All of it still is in the buffer.
            return Ok(start);
        }
        stream.consume(n);
    }
    // The bytes came in pieces and are consumed: put them before whatever the buffer still holds.
    let mut replay = start.clone();
    replay.extend_from_slice(stream.buffer());
    let buffered = stream.buffer().len();
    stream.consume(buffered);
    stream.get_mut().start = replay;
    Ok(start)
}

/// A stream with bytes put back at its start.
struct Resumed<R> {
    start: Vec<u8>,
    inner: R,
}

impl<R: Read> Read for Resumed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.start.is_empty() {
            return self.inner.read(buffer);
        }
        let n = self.start.len().min(buffer.len());
        buffer[..n].copy_from_slice(&self.start[..n]);
        self.start.drain(..n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// Hands one byte at a time out.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let n = buffer.len().min(1);
            self.0.read(&mut buffer[..n])
        }
    }

    fn all(data: &[u8]) -> (Vec<u8>, Compression) {
        let (mut stream, compression) = decompress(Drip(data)).unwrap();
        let mut out = Vec::new();
        stream.read_to_end(&mut out).unwrap();
        (out, compression)
    }

    #[test]
    fn whatever_it_is_comes_out_plain() {
        let text = b"hello, hello, hello";
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(all(text), (text.to_vec(), Compression::Plain));
        assert_eq!(all(&gzip), (text.to_vec(), Compression::Gzip));
        assert_eq!(all(&[gzip.clone(), gzip].concat()).0.len(), 2 * text.len());
        assert_eq!(all(&zstd::encode_all(&text[..], 1).unwrap()), (text.to_vec(), Compression::Zstd));
        assert_eq!(all(b"abc").0, b"abc");
        assert_eq!(all(b"").0, b"");
        assert!(Compression::detect(b"\xfd7zXZ\0").is_err());
    }
}
