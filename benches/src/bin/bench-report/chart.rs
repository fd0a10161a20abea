//! Two kinds of chart, lines and bars, as SVG: what is on the axes, in which unit, and a legend
//! beside that hides nothing.
//!
//! A logarithmic axis shows the logarithm on a plain one, with labels at whole powers of ten.

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
};
use std::{error::Error, ops::Range};

const SIZE: (u32, u32) = (960, 420);
const LEGEND: u32 = 220;
const LINE: i32 = 24;
const INK: RGBColor = RGBColor(40, 44, 52);
/// Told apart by people who do not see all colours (Okabe and Ito).
const COLOURS: [RGBColor; 9] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(86, 180, 233),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
    RGBColor(240, 228, 66),
    RGBColor(0, 0, 0),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Plain = Cartesian2d<RangedCoordf64, RangedCoordf64>;
type Context<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Plain>;

/// An axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    /// What it shows, with its unit.
    pub(crate) label: &'static str,
    pub(crate) is_logarithmic: bool,
}

/// Values under a name.
#[derive(Clone, Debug)]
pub(crate) struct Series<T> {
    pub(crate) name: String,
    pub(crate) values: Vec<T>,
}

/// Points, joined.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series<(f64, f64)>>,
}

/// Bars by category, beside each other or on top of each other.
#[derive(Clone, Debug)]
pub(crate) struct Bars {
    pub(crate) title: &'static str,
    /// What the categories are.
    pub(crate) x_label: &'static str,
    pub(crate) y: Axis,
    pub(crate) categories: Vec<String>,
    /// A value for each category.
    pub(crate) series: Vec<Series<Option<f64>>>,
    pub(crate) is_stacked: bool,
}

impl Axis {
    pub(crate) fn plain(label: &'static str) -> Self {
        Self {
            label,
            is_logarithmic: false,
        }
    }

    pub(crate) fn logarithmic(label: &'static str) -> Self {
        Self {
            label,
            is_logarithmic: true,
        }
    }

    fn place(&self, value: f64) -> f64 {
        if self.is_logarithmic {
            value.max(f64::MIN_POSITIVE).log10()
        } else {
            value
        }
    }

    /// From nothing, or the power of ten below, to a little above the greatest.
    fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let (least, most) = extremes(values);
        if self.is_logarithmic {
            let most = self.place(most);
            self.place(least).floor()..most + (most - self.place(least)).max(0.1) * 0.05
        } else {
            0.0..most * 1.08
        }
    }

    fn text(&self, place: f64) -> String {
        if !self.is_logarithmic {
            return short(place);
        }
        let power = place.round();
        if (place - power).abs() > 1e-6 {
            return String::new();
        }
        short(10_f64.powf(power))
    }

    /// So many labels that the step between them is one power of ten, where powers are shown.
    fn labels(&self, range: &Range<f64>) -> usize {
        let decades = (1..20_u32).find(|it| f64::from(*it) >= range.end - range.start);
        let decades = decades.map_or(20, |it| it as usize);
        if self.is_logarithmic { decades + 1 } else { 9 }
    }
}

fn extremes(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let found = values.fold(None, |found: Option<(f64, f64)>, value| {
        let (least, most) = found.unwrap_or((value, value));
        Some((least.min(value), most.max(value)))
    });
    found.unwrap_or((0.0, 1.0))
}

/// 1500000 as 1.5 M.
pub(crate) fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        it if it >= 1e6 => (value / 1e6, " M"),
        it if it >= 1e3 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    // Three digits that count.
    let text = match value.abs() {
        it if it >= 100.0 => format!("{value:.0}"),
        it if it >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    let text = match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.'),
        None => &text,
    };
    format!("{text}{unit}")
}

impl Lines {
    /// The chart as SVG.
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        draw(self.title, &names(&self.series), |area| {
            let points = || self.series.iter().flat_map(|it| &it.values);
            let (least, most) = extremes(points().map(|it| self.x.place(it.0)));
            let margin = (most - least).max(0.1) * 0.04;
            let x = least - margin..most + margin;
            let y = self.y.range(points().map(|it| it.1));
            let mut chart = axes(area, x.clone(), y.clone())?;
            chart
                .configure_mesh()
                .x_desc(self.x.label)
                .y_desc(self.y.label)
                .x_labels(self.x.labels(&x))
                .y_labels(self.y.labels(&y))
                .x_label_formatter(&|x| self.x.text(*x))
                .y_label_formatter(&|y| self.y.text(*y))
                .label_style(ink(14))
                .axis_desc_style(ink(15))
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.12))
                .draw()?;
            for (series, colour) in self.series.iter().zip(COLOURS) {
                let place = |(x, y): &(f64, f64)| (self.x.place(*x), self.y.place(*y));
                let places: Vec<_> = series.values.iter().map(place).collect();
                let style = colour.stroke_width(2);
                chart.draw_series(LineSeries::new(places.clone(), style))?;
                let dots = places.iter().map(|it| Circle::new(*it, 4, colour.filled()));
                chart.draw_series(dots)?;
            }
            Ok(())
        })
    }
}

impl Bars {
    /// The chart as SVG.
    pub(crate) fn svg(&self) -> Result<String, Box<dyn Error>> {
        draw(self.title, &names(&self.series), |area| {
            let x = 0.0..count(self.categories.len());
            let y = self.y.range(self.tops().into_iter());
            let mut chart = axes(area, x, y.clone())?;
            let name = |x: &f64| {
                let names = self.categories.iter().zip(0_u32..);
                let is_there = |(_, at): &(&String, u32)| (f64::from(*at) + 0.5 - x).abs() < 1e-6;
                names
                    .clone()
                    .find(is_there)
                    .map_or(String::new(), |(name, _)| name.clone())
            };
            chart
                .configure_mesh()
                .x_desc(self.x_label)
                .y_desc(self.y.label)
                .disable_x_mesh()
                .x_labels(self.categories.len() * 2 + 1)
                .y_labels(self.y.labels(&y))
                .x_label_formatter(&name)
                .y_label_formatter(&|y| self.y.text(*y))
                .label_style(ink(14))
                .axis_desc_style(ink(15))
                .light_line_style(TRANSPARENT)
                .bold_line_style(INK.mix(0.12))
                .draw()?;
            self.draw_bars(&mut chart, y.start)
        })
    }

    /// The greatest heights, and the least of what is logarithmic.
    fn tops(&self) -> Vec<f64> {
        if !self.is_stacked {
            let values = self.series.iter().flat_map(|it| &it.values);
            return values.copied().flatten().collect();
        }
        let sums = (0..self.categories.len()).map(|at| {
            let values = self.series.iter().filter_map(|it| *it.values.get(at)?);
            values.sum()
        });
        sums.collect()
    }

    fn draw_bars(&self, chart: &mut Context<'_, '_>, bottom: f64) -> Result<(), Box<dyn Error>> {
        let width = if self.is_stacked {
            0.6
        } else {
            0.8 / count(self.series.len())
        };
        let mut tops = vec![bottom; self.categories.len()];
        for ((series, colour), at) in self.series.iter().zip(COLOURS).zip(0_u32..) {
            for ((value, top), category) in series.values.iter().zip(&mut tops).zip(0_u32..) {
                let Some(value) = value else { continue };
                let aside = if self.is_stacked {
                    0.2
                } else {
                    0.1 + width * f64::from(at)
                };
                let left = f64::from(category) + aside;
                let (from, to) = if self.is_stacked {
                    (*top, *top + value)
                } else {
                    (bottom, self.y.place(*value))
                };
                *top = to;
                let corners = [(left, from), (left + width, to)];
                chart.draw_series([Rectangle::new(corners, colour.filled())])?;
                if !self.is_stacked {
                    let style = ink(12).pos(middle_above());
                    let at = (left + width / 2.0, to);
                    chart.draw_series([Text::new(short(*value), at, style)])?;
                }
            }
        }
        Ok(())
    }
}

fn ink(size: u32) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK)
}

fn middle_above() -> plotters::style::text_anchor::Pos {
    use plotters::style::text_anchor::{HPos, Pos, VPos};
    Pos::new(HPos::Center, VPos::Bottom)
}

fn count(items: usize) -> f64 {
    u32::try_from(items.max(1)).map_or(1.0, f64::from)
}

fn names<T>(series: &[Series<T>]) -> Vec<String> {
    series.iter().map(|it| it.name.clone()).collect()
}

fn axes<'a, 'b>(
    area: &'a Area<'b>,
    x: Range<f64>,
    y: Range<f64>,
) -> Result<Context<'a, 'b>, Box<dyn Error>> {
    Ok(ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(76)
        .build_cartesian_2d(x, y)?)
}

/// A title, what `plot` draws, and the legend at its right.
fn draw(
    title: &str,
    names: &[String],
    plot: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn Error>>,
) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled(title, ink(19))?;
        let (left, right) = area.split_horizontally(SIZE.0 - LEGEND);
        plot(&left)?;
        for ((name, colour), line) in names.iter().zip(COLOURS).zip(1..) {
            let y = line * LINE;
            let mark = [(4, y), (20, y + 12)];
            right.draw(&Rectangle::new(mark, colour.filled()))?;
            right.draw(&Text::new(name.clone(), (28, y - 1), ink(14)))?;
        }
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (1500.0, "1.5 k"),
            (2e6, "2 M"),
            (0.25, "0.25"),
            (40.0, "40"),
            (241.39, "241"),
            (12_070.0, "12.1 k"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn a_chart_names_its_axes_and_series() {
        let lines = Lines {
            title: "a title",
            x: Axis::logarithmic("flows"),
            y: Axis::plain("packets"),
            series: vec![Series {
                name: "one".to_owned(),
                values: vec![(1000.0, 1.0), (100_000.0, 2.0)],
            }],
        };
        let svg = lines.svg().unwrap();
        for word in ["a title", "flows", "packets", "one", "10 k"] {
            assert!(svg.contains(word), "{word} is not in {svg}");
        }
    }
}
