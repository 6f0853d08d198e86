//! Single PNG and JPEG files.
//!
//! Pixels are those of Pillow's `Image.open(path).convert("RGB")`, or `convert("L")` for models of
//! one channel, which torchvision's `ImageFolder` and `Grayscale` use too:
//!
//! | file | pixels |
//! |---|---|
//! | grey | the grey, repeated for models of three channels |
//! | colour, palettes included | for models of one channel ITU-R BT.601's luma, in Pillow's integers |
//! | alpha, transparent colours | dropped, whatever is behind them shows |
//! | 16 bits per sample | the upper 8, as in OpenCV (Pillow does so for colour, and clips grey) |
//! | 1, 2 or 4 bits per sample | spread over 0..=255 |
//!
//! Gamma, colour profiles and an EXIF orientation are not applied. A file must be whole: one that
//! was cut off is an error, never a picture that is grey from somewhere on.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::Path;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::DataError;

/// Extensions of the files that are taken for pictures. What a file holds is told by its first
/// bytes.
pub(super) const EXTENSIONS: [&str; 3] = ["png", "jpg", "jpeg"];

const PNG_MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";
const JPEG_MAGIC: &[u8] = b"\xff\xd8\xff";

/// The largest JPEG that is read: more than any of 65,535 x 65,535 pixels with a sane quality.
const MAX_JPEG_BYTES: u64 = 1 << 30;

/// `true` if a file that starts so is a PNG or a JPEG.
pub(super) fn is_picture(start: &[u8]) -> bool {
    start.starts_with(PNG_MAGIC) || start.starts_with(JPEG_MAGIC)
}

/// The pixels `[H, W, C]` of one PNG or JPEG that has the size `input`, in 1 or 3 channels.
pub(super) fn read(path: &Path, input: [usize; 3]) -> Result<Vec<u8>, DataError> {
    check_channels(path, input)?;
    let (mut file, file_bytes) = super::open(path)?;
    let start = super::read_up_to(&mut file, 8, path)?;
    file.rewind()
        .map_err(|source| super::io_error(path, source))?;
    let (channel_count, samples) = if start.starts_with(JPEG_MAGIC) {
        read_jpeg(path, file, file_bytes, input)?
    } else if start.starts_with(PNG_MAGIC) {
        read_png(path, file, input)?
    } else {
        return Err(DataError::NotAPicture {
            path: path.into(),
            found: start.escape_ascii().to_string(),
        });
    };
    let pixels = samples.chunks_exact(channel_count);
    Ok(match (channel_count, input[2]) {
        (1 | 2, 1) => pixels.map(|pixel| pixel[0]).collect(),
        (1 | 2, _) => pixels.flat_map(|pixel| [pixel[0]; 3]).collect(),
        (_, 1) => pixels
            .map(|pixel| luma([pixel[0], pixel[1], pixel[2]]))
            .collect(),
        (_, _) => pixels
            .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
            .collect(),
    })
}

/// Pictures give 1 or 3 channels.
pub(super) fn check_channels(path: &Path, [_, _, expected]: [usize; 3]) -> Result<(), DataError> {
    match expected {
        1 | 3 => Ok(()),
        _ => Err(DataError::Channels {
            path: path.into(),
            expected,
        }),
    }
}

/// ITU-R BT.601's luma of red, green and blue: 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point,
/// rounded to nearest.
fn luma(rgb: [u8; 3]) -> u8 {
    let [r, g, b] = rgb.map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// The size is compared before a decoder takes memory for the pixels.
fn check_size(
    path: &Path,
    [expected_height, expected_width, _]: [usize; 3],
    [found_height, found_width]: [usize; 2],
) -> Result<(), DataError> {
    if [found_height, found_width] == [expected_height, expected_width] {
        return Ok(());
    }
    Err(DataError::ImageSize {
        path: path.into(),
        expected_height,
        expected_width,
        found_height,
        found_width,
    })
}

/// The number of channels, alpha included, and the samples of 8 bits each.
fn read_png(
    path: &Path,
    file: BufReader<File>,
    input: [usize; 3],
) -> Result<(usize, Vec<u8>), DataError> {
    let undecodable = |source: png::DecodingError| undecodable(path, source);
    let mut decoder = png::Decoder::new(file);
    // palettes and few bits become samples of 8 bits, of 16 bits only the upper 8 are kept
    decoder.set_transformations(png::Transformations::EXPAND | png::Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let mut reader = decoder.read_info().map_err(undecodable)?;
    let size = [reader.info().height, reader.info().width];
    check_size(path, input, size.map(|side| side as usize))?;
    let (color, _) = reader.output_color_type();
    let mut samples = vec![0; input[0] * input[1] * color.samples()];
    reader.next_frame(&mut samples).map_err(undecodable)?;
    reader.finish().map_err(undecodable)?;
    Ok((color.samples(), samples))
}

/// As [`read_png`].
fn read_jpeg(
    path: &Path,
    file: BufReader<File>,
    file_bytes: u64,
    input: [usize; 3],
) -> Result<(usize, Vec<u8>), DataError> {
    if file_bytes > MAX_JPEG_BYTES {
        return Err(DataError::FileTooLarge {
            path: path.into(),
            found_bytes: file_bytes,
            most_bytes: MAX_JPEG_BYTES,
        });
    }
    let mut bytes = Vec::new();
    let result = file.take(MAX_JPEG_BYTES).read_to_end(&mut bytes);
    result.map_err(|source| super::io_error(path, source))?;
    if !reaches_its_end(&bytes) {
        return Err(DataError::CutOff {
            path: path.into(),
            found_bytes: file_bytes,
        });
    }
    let undecodable = |source| undecodable(path, source);
    // where it is not strict, what follows a fault is grey
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::from(u16::MAX))
        .set_max_height(usize::from(u16::MAX));
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes.as_slice()), options);
    decoder.decode_headers().map_err(undecodable)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_size(path, input, [height, width])?;
    let is_grey = decoder.input_colorspace() == Some(ColorSpace::Luma);
    let color = if is_grey {
        ColorSpace::Luma
    } else {
        ColorSpace::RGB
    };
    decoder.set_options(options.jpeg_set_out_colorspace(color));
    let samples = decoder.decode().map_err(undecodable)?;
    Ok((color.num_components(), samples))
}

/// `true` if the segments of a JPEG and the coded data between them lead to its end-of-image marker
/// (ITU-T T.81, B.1), which a decoder may do without.
fn reaches_its_end(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|&byte| byte == 0xff) {
        rest = &rest[at + 1..];
        let skipped = match *rest {
            // a fill byte: the marker follows
            [0xff, ..] => 0,
            // a stuffed zero, or a marker without a segment
            [0x00 | 0x01 | 0xd0..=0xd8, ..] => 1,
            [0xd9, ..] => return true,
            // the length counts itself
            [_, high, low, ..] => 1 + usize::from(u16::from_be_bytes([high, low])),
            [] | [_] | [_, _] => return false,
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    false
}

fn undecodable(path: &Path, source: impl std::error::Error + Send + Sync + 'static) -> DataError {
    DataError::Undecodable {
        path: path.into(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Folder, fault, survive_damage};
    use super::*;

    /// A PNG of one row.
    fn png(
        folder: &Folder,
        color: png::ColorType,
        depth: png::BitDepth,
        width: u32,
        row: &[u8],
    ) -> std::path::PathBuf {
        let path = folder.write("x.png", []);
        let mut encoder = png::Encoder::new(File::create(&path).unwrap(), width, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        if color == png::ColorType::Indexed {
            encoder.set_palette(vec![10, 200, 77, 1, 2, 250]);
            encoder.set_trns(vec![0, 128]);
        }
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(row).unwrap();
        writer.finish().unwrap();
        path
    }

    /// Expected values are those of Pillow 13, but for grey of 16 bits, which it clips to 255.
    #[test]
    fn pixels_are_pillows() {
        use png::BitDepth::{Eight, Four, One, Sixteen, Two};
        use png::ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
        let folder = Folder::new();
        for (color, depth, row, grey, rgb) in [
            (
                Rgb,
                Eight,
                &[255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 77][..],
                &[76, 150, 29, 129][..],
                &[255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 77][..],
            ),
            (
                Rgb,
                Eight,
                &[68, 32, 130, 60, 253, 230, 241, 194, 107, 48, 249, 14],
                &[54, 193, 198, 162],
                &[68, 32, 130, 60, 253, 230, 241, 194, 107, 48, 249, 14],
            ),
            (
                Rgba,
                Eight,
                &[10, 200, 77, 0, 10, 200, 77, 255],
                &[129, 129],
                &[10, 200, 77, 10, 200, 77],
            ),
            (
                GrayscaleAlpha,
                Eight,
                &[10, 0, 200, 255],
                &[10, 200],
                &[10, 10, 10, 200, 200, 200],
            ),
            (
                Grayscale,
                Sixteen,
                &[0, 255, 1, 0, 156, 64, 255, 255],
                &[0, 1, 156, 255],
                &[0, 0, 0, 1, 1, 1, 156, 156, 156, 255, 255, 255],
            ),
            (
                GrayscaleAlpha,
                Sixteen,
                &[1, 44, 0, 0, 156, 64, 255, 255],
                &[1, 156],
                &[1, 1, 1, 156, 156, 156],
            ),
            (
                Rgb,
                Sixteen,
                &[1, 255, 128, 255, 255, 255, 156, 64, 195, 80, 234, 96],
                &[105, 188],
                &[1, 128, 255, 156, 195, 234],
            ),
            (
                Rgba,
                Sixteen,
                &[156, 64, 195, 80, 234, 96, 0, 7],
                &[188],
                &[156, 195, 234],
            ),
            (
                Grayscale,
                One,
                &[0b1010_0000],
                &[255, 0, 255],
                &[255, 255, 255, 0, 0, 0, 255, 255, 255],
            ),
            (
                Grayscale,
                Two,
                &[0b0001_1011],
                &[0, 85, 170, 255],
                &[0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255],
            ),
            (
                Grayscale,
                Four,
                &[0x3c],
                &[51, 204],
                &[51, 51, 51, 204, 204, 204],
            ),
            (
                Indexed,
                Eight,
                &[0, 1],
                &[129, 30],
                &[10, 200, 77, 1, 2, 250],
            ),
        ] {
            let what = format!("{color:?} {depth:?}");
            let path = png(&folder, color, depth, grey.len() as u32, row);
            assert_eq!(read(&path, [1, grey.len(), 1]).unwrap(), grey, "{what}");
            assert_eq!(read(&path, [1, grey.len(), 3]).unwrap(), rgb, "{what}");
            let error = fault(read(&path, [1, grey.len(), 2]), &path);
            assert!(matches!(error, DataError::Channels { expected: 2, .. }));
        }
    }

    /// Pixels `[32, 32, C]` that compress to more than a few bytes.
    fn waves(channels: u32) -> Vec<u8> {
        let pixels = 0..32 * 32 * channels;
        pixels.map(|i| (i * i / 7 + 3 * i) as u8).collect()
    }

    #[test]
    fn a_jpeg_is_read_and_must_be_whole() {
        let folder = Folder::new();
        let grey = folder.write_image("grey.jpg", [8, 8, 1], &[100; 64]);
        let color = folder.write_image("color.jpeg", [8, 8, 3], &[10, 200, 77].repeat(64));
        for (path, channels, expected) in [
            (&grey, 1, [100; 3]),
            (&grey, 3, [100; 3]),
            (&color, 1, [129; 3]),
            (&color, 3, [10, 200, 77]),
        ] {
            let pixels = read(path, [8, 8, channels]).unwrap();
            let near = |(i, pixel): (usize, &u8)| pixel.abs_diff(expected[i % channels]) < 3;
            assert_eq!(pixels.len(), 64 * channels);
            assert!(pixels.iter().enumerate().all(near), "{pixels:?}");
        }
        for channels in [1, 3] {
            let whole = folder.write_image("whole.jpg", [32, 32, channels], &waves(channels));
            let whole = std::fs::read(whole).unwrap();
            for len in 3..whole.len() {
                let cut = folder.write("cut.jpg", &whole[..len]);
                let error = fault(read(&cut, [32, 32, 1]), &cut);
                assert!(matches!(error, DataError::CutOff { .. }), "{len}: {error}");
            }
            // codes of ones alone do not exist
            let mut damaged = whole.clone();
            let middle = whole.len() / 2;
            damaged[middle..middle + 32].copy_from_slice(&[0xff, 0x00].repeat(16));
            let hole = folder.write("hole.jpg", damaged);
            let error = fault(read(&hole, [32, 32, 1]), &hole);
            assert!(matches!(error, DataError::Undecodable { .. }), "{error}");
        }
    }

    #[test]
    fn a_png_must_be_whole() {
        let folder = Folder::new();
        let whole = folder.write_image("whole.png", [32, 32, 3], &waves(3));
        assert_eq!(read(&whole, [32, 32, 3]).unwrap(), waves(3));
        let whole = std::fs::read(whole).unwrap();
        for len in 8..whole.len() {
            let cut = folder.write("cut.png", &whole[..len]);
            let error = fault(read(&cut, [32, 32, 3]), &cut);
            assert!(matches!(error, DataError::Undecodable { .. }), "{len}");
        }
        for len in 0..8 {
            let cut = folder.write("cut.png", &whole[..len]);
            let error = fault(read(&cut, [32, 32, 3]), &cut);
            assert!(matches!(error, DataError::NotAPicture { .. }), "{len}");
        }
    }

    #[test]
    fn sizes_are_compared_first() {
        let folder = Folder::new();
        let path = folder.write_image("x.png", [3, 2, 1], &[0; 6]);
        let error = fault(read(&path, [1, 2, 1]), &path);
        let sizes = "3 pixels high and 2 wide, the model expects 1 high and 2 wide";
        assert!(error.to_string().ends_with(sizes), "{error}");
        let path = folder.write_image("x.jpg", [3, 2, 1], &[0; 6]);
        let mut bytes = std::fs::read(&path).unwrap();
        let frame = bytes.windows(2).position(|b| b == b"\xff\xc0").unwrap();
        bytes[frame + 5..frame + 9].fill(0xff);
        let path = folder.write("x.jpg", bytes);
        let error = fault(read(&path, [3, 2, 1]), &path);
        assert!(matches!(
            error,
            DataError::ImageSize {
                found_height: 65535,
                found_width: 65535,
                ..
            }
        ));
    }

    #[test]
    fn damage_never_panics() {
        let folder = Folder::new();
        for name in ["x.png", "x.jpg"] {
            let path = folder.write_image(name, [8, 8, 3], &[77; 192]);
            survive_damage(name, &std::fs::read(path).unwrap(), [8, 8, 3]);
        }
    }
}
