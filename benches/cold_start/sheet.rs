//! The table of figures, with floors and goals.

/// All figures of one run.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Figure>);

/// One figure; smaller is better.
#[derive(Debug)]
pub struct Figure {
    name: String,
    measured: f64,
    /// The figure of another program.
    against: Option<f64>,
    floor: Option<f64>,
    goal: Option<f64>,
}

impl Figure {
    /// The time that the kernel alone needs, measured in the same run.
    pub fn floor(&mut self, floor: f64) -> &mut Self {
        self.floor = Some(floor);
        self
    }

    /// The goal.
    pub fn goal(&mut self, goal: f64) -> &mut Self {
        self.goal = Some(goal);
        self
    }
}

impl Sheet {
    /// Adds a figure of one program or two, and prints it at once.
    pub fn figure(&mut self, name: &str, measured: Vec<f64>) -> &mut Figure {
        eprintln!("{name}: {measured:.2?}");
        let mut measured = measured.into_iter();
        self.0.push(Figure {
            name: name.to_owned(),
            measured: measured.next().unwrap(),
            against: measured.next(),
            floor: None,
            goal: None,
        });
        self.0.last_mut().unwrap()
    }

    /// The table of all figures.
    pub fn print(&self) {
        let compared = self.0.iter().any(|figure| figure.against.is_some());
        let shown =
            |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
        print!(
            "\n{:<46} {:>9} {:>9} {:>7} {:>9}",
            "FIGURE", "MEASURED", "FLOOR", "RATIO", "GOAL"
        );
        println!("{}", if compared { "   AGAINST NEW/OLD" } else { "" });
        for figure in &self.0 {
            let ratio = figure.floor.map(|floor| figure.measured / floor);
            let judged = match figure.goal {
                Some(goal) if figure.measured <= goal => "met",
                Some(_) => "MISSED",
                None => "",
            };
            print!(
                "{:<46} {:>9.2} {:>9} {:>7} {:>9}",
                figure.name,
                figure.measured,
                shown(figure.floor),
                shown(ratio),
                shown(figure.goal),
            );
            if compared {
                let old = figure.against.filter(|old| *old > 0.0);
                let ratio = old.map(|old| figure.measured / old);
                print!(" {:>9} {:>7}", shown(figure.against), shown(ratio));
            }
            println!("  {judged}");
        }
    }
}
