//! Pictures and plots.
//!
//! | file | what |
//! |---|---|
//! | [`page`] | plots in a page of HTML, and its style |
//! | [`pictures`] | pictures of samples |

pub mod page;
pub mod pictures;

use plotters::style::RGBColor;

/// Colours that most eyes tell apart, on light and dark (Okabe and Ito's palette).
const OKABE_ITO: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
