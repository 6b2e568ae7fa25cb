//! The table of figures, with floors and goals, and the file with all samples.

#[path = "result.rs"]
mod result;

#[allow(unused_imports, reason = "each benchmark uses a part of it")]
pub use self::result::part;
use self::result::{Begin, Stated, Subject};

/// All figures of one run. It is made before anything is measured: it notes the load of the machine.
#[derive(Debug)]
pub struct Sheet {
    begin: Begin,
    figures: Vec<Figure>,
}

/// One figure; smaller is better.
#[derive(Debug)]
pub struct Figure {
    name: String,
    /// What the table shows and the goal is for: of this program, and of another one.
    measured: Vec<f64>,
    /// What was measured of each program.
    samples: Vec<Vec<f64>>,
    floors: Vec<f64>,
    goal: Option<f64>,
    is_ratio: bool,
    is_judged: bool,
}

impl Default for Sheet {
    fn default() -> Self {
        Self {
            begin: Begin::now(),
            figures: Vec::new(),
        }
    }
}

#[allow(dead_code, reason = "each benchmark uses a part of it")]
impl Figure {
    /// The time that the kernel alone needs, measured in the same run.
    pub fn floor(&mut self, floor: f64) -> &mut Self {
        self.floors(vec![floor])
    }

    /// Several measurements of the same, of which the median counts.
    pub fn floors(&mut self, floors: Vec<f64>) -> &mut Self {
        self.floors = floors;
        self
    }

    /// What the figure of each program was taken from, if it is not their median.
    pub fn samples(&mut self, samples: Vec<Vec<f64>>) -> &mut Self {
        self.samples = samples;
        self
    }

    /// The goal.
    pub fn goal(&mut self, goal: f64) -> &mut Self {
        self.goal = Some(goal);
        self
    }

    /// The goal of the ratio to the floor.
    pub fn goal_over_floor(&mut self, goal: f64) -> &mut Self {
        self.is_ratio = true;
        self.goal(goal)
    }

    /// `benches/compare` does not judge it: neither less nor more is better.
    pub fn unjudged(&mut self) -> &mut Self {
        self.is_judged = false;
        self
    }

    fn stated(&self, program: usize) -> Stated<'_> {
        Stated {
            name: &self.name,
            measured: self.measured[program],
            samples: &self.samples[program],
            floors: &self.floors,
            goal: self.goal,
            is_ratio: self.is_ratio,
            is_judged: self.is_judged,
        }
    }
}

#[allow(dead_code, reason = "each benchmark uses a part of it")]
impl Sheet {
    /// Adds a figure of one program or two, and prints it at once.
    pub fn figure(&mut self, name: &str, measured: Vec<f64>) -> &mut Figure {
        let samples = measured.iter().map(|value| vec![*value]).collect();
        self.add(name, measured, samples)
    }

    /// Adds the medians of samples of one program or two, and prints them at once.
    pub fn sampled(&mut self, name: &str, samples: Vec<Vec<f64>>) -> &mut Figure {
        let medians = samples.iter().map(|of_one| result::part(of_one, 50));
        let measured = medians.map(Option::unwrap).collect();
        self.add(name, measured, samples)
    }

    fn add(&mut self, name: &str, measured: Vec<f64>, samples: Vec<Vec<f64>>) -> &mut Figure {
        eprintln!("{name}: {measured:.2?}");
        self.figures.push(Figure {
            name: name.to_owned(),
            measured,
            samples,
            floors: Vec::new(),
            goal: None,
            is_ratio: false,
            is_judged: true,
        });
        self.figures.last_mut().unwrap()
    }

    /// Prints the table of all figures, and writes the file of each program.
    pub fn print(&self) {
        let programs = self.figures.iter().map(|figure| figure.measured.len());
        let compared = programs.max() == Some(2);
        print!(
            "\n{:<58} {:>9} {:>9} {:>9} {:>9} {:>7} {:>9}",
            "FIGURE", "MEASURED", "P99", "FLOOR", "FLOOR P99", "RATIO", "GOAL"
        );
        println!("{}", if compared { "   AGAINST NEW/OLD" } else { "" });
        for figure in &self.figures {
            self::print(figure, compared);
        }
        for subject in [Subject::This, Subject::Against] {
            let program = subject as usize;
            let measured = self.figures.iter().filter(|it| it.measured.len() > program);
            let stated: Vec<_> = measured.map(|it| it.stated(program)).collect();
            if !stated.is_empty() {
                result::write(&self.begin, subject, &stated);
            }
        }
    }
}

fn print(figure: &Figure, compared: bool) {
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let stated = figure.stated(0);
    let judged = match (figure.goal, stated.aimed()) {
        (Some(goal), Some(aimed)) if aimed <= goal => "met",
        (Some(_), Some(_)) => "MISSED",
        _ => "",
    };
    let goal = match (figure.goal, figure.is_ratio) {
        (Some(goal), true) => format!("x {goal:.2}"),
        (goal, _) => shown(goal),
    };
    print!(
        "{:<58} {:>9.2} {:>9} {:>9} {:>9} {:>7} {goal:>9}",
        figure.name,
        stated.measured,
        shown(result::tail(stated.samples)),
        shown(stated.floor()),
        shown(result::tail(stated.floors)),
        shown(stated.ratio()),
    );
    if compared {
        let old = figure.measured.get(1).copied();
        let ratio = old
            .filter(|old| *old > 0.0)
            .map(|old| stated.measured / old);
        print!(" {:>9} {:>7}", shown(old), shown(ratio));
    }
    println!("  {judged}");
}
