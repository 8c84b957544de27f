//! Pictures and plots.
//!
//! | file | what |
//! |---|---|
//! | [`page`] | plots in a page of HTML, and its style |
//! | [`pictures`] | pictures of samples |

pub mod page;
pub mod pictures;
